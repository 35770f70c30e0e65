(component
  (core module $a (type (func)) (func (export "main") (type 3)))
  (core instance (instantiate $a)))
