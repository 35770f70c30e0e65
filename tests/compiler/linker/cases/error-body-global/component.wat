(component
  (core module $a
    (table 1 funcref)
    (func (export "main") (nop) (drop (global.get 7))))
  (core instance (instantiate $a)))
