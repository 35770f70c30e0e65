(component
  (core module $a (global (export "x") (mut i32) (i32.const 0)))
  (core module $b (import "a" "x" (global i32)) (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
