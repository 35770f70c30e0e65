(component
  (core module $a
    (table 1 funcref)
    (elem $e func 0)
    (func (export "main") (table.copy (i32.const 0) (i32.const 0) (i32.const 0))))
  (core instance (instantiate $a)))
