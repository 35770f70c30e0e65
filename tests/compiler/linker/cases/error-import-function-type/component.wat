(component
  (core module $a (func (export "x") (param i32)))
  (core module $b (import "a" "x" (func (result i64))) (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
