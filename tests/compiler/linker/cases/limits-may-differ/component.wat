;; An import may ask for less than it gets.
(component
  (core module $a (table (export "x") 5 9 funcref) (memory 2))
  (core module $b (import "a" "x" (table 1 funcref)) (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
