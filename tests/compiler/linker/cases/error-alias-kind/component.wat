(component
  (core module $a (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (export "m" (memory $a "main"))))
