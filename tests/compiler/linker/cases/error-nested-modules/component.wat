(component
  (core module $main (func (export "main")))
  (core instance (instantiate $main))
  (component (component (core module))))
