(component
  (core module $a
    (table 1 funcref)
    (elem $e func 0)
    (func (export "main") (table.set (i32.const 0) (ref.null func))))
  (core instance (instantiate $a)))
