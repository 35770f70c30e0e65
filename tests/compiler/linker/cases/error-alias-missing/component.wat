(component
  (core module $a (func (export "main")))
  (core instance $a (instantiate $a))
  (core instance (export "f" (func $a "nothing"))))
