(component
  (core module $a (func (export "main")) (elem (table 0) (i32.const 0) func 0))
  (core instance (instantiate $a)))
