(component
  (core module $a (func (export "f")))
  (core instance (instantiate $a)))
