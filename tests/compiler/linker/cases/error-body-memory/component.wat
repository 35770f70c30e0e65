(component
  (core module $a
    (table 1 funcref)
    (func (export "main") (nop) (drop (memory.size))))
  (core instance (instantiate $a)))
