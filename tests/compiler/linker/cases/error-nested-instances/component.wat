(component
  (core module $main (func (export "main")))
  (core instance (instantiate $main))
  (component (core instance)))
