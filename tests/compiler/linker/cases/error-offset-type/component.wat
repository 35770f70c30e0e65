(component
  (core module $a (memory 1) (data (i64.const 1) "a") (func (export "main")))
  (core instance (instantiate $a)))
