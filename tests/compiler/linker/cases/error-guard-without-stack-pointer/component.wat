(component
  (core module $main (func $f) (func (export "main") (call $f)))
  (core instance (instantiate $main)))
