(component
  (core module $a (table 1 funcref) (func (export "main")) (elem (i32.const 0) func 9))
  (core instance (instantiate $a)))
