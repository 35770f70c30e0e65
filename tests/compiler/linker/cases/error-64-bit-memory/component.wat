(component
  (core module $a (memory i64 1) (func (export "main")))
  (core instance (instantiate $a)))
