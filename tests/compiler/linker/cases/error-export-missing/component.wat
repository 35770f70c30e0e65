(component
  (core module $a (func (export "y")))
  (core module $b (import "a" "x" (func)) (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
