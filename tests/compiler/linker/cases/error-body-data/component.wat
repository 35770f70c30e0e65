(component
  (core module $a
    (table 1 funcref)
    (func (export "main") (nop) (data.drop 7)))
  (core instance (instantiate $a)))
