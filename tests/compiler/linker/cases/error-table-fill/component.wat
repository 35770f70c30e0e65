(component
  (core module $a
    (table 1 funcref)
    (elem $e func 0)
    (func (export "main") (table.fill (i32.const 0) (ref.null func) (i32.const 0))))
  (core instance (instantiate $a)))
