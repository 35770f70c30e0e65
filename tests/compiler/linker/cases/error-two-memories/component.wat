(component
  (core module $a (memory 1) (func (export "main")))
  (core module $b (memory 1))
  (core instance (instantiate $a))
  (core instance (instantiate $b)))
