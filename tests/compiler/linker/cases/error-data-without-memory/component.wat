(component
  (core module $a (func (export "main")) (data (i32.const 0) "a"))
  (core instance (instantiate $a)))
