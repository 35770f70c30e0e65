(component
  (core module $a
    (table 1 funcref)
    (elem $e func 0)
    (func (export "main") (elem.drop $e)))
  (core instance (instantiate $a)))
