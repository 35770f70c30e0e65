(component
  (core module $a (func (export "main")))
  (core instance (instantiate $a)))
