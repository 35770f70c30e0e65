(component
  (core module $a (memory (export "x") 1))
  (core module $b (import "a" "x" (func)) (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
