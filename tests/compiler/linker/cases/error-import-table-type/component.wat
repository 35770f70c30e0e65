(component
  (core module $a (table (export "x") 1 externref))
  (core module $b (import "a" "x" (table 1 funcref)) (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
