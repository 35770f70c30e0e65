(component
  (core module $a (memory 1) (memory 1) (func (export "main")))
  (core instance (instantiate $a)))
