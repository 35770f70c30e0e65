(component
  (core module $a
    (table 1 funcref)
    (func (export "main") (nop) (call 7)))
  (core instance (instantiate $a)))
