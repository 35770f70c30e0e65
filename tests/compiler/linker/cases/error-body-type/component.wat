(component
  (core module $a
    (table 1 funcref)
    (func (export "main") (nop) (call_indirect (type 7) (i32.const 0))))
  (core instance (instantiate $a)))
