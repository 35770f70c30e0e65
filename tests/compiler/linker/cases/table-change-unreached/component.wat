;; An instruction that changes a table is no fault where nothing calls it.
(component
  (core module $a
    (table 1 funcref)
    (func (export "change") (table.set (i32.const 0) (ref.null func)))
    (func (export "main") (result i32) (i32.const 1)))
  (core instance (instantiate $a)))
