(component
  (core module $a
    (table 1 funcref)
    (func (export "main") (nop) (call_indirect 7 (type 0) (i32.const 0))))
  (core instance (instantiate $a)))
