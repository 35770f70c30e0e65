;; A slot that is empty, beyond the table, or of another type is no forwarding: the call still traps.
(component
  (core module $main
    (table 2 funcref)
    (type $f (func (param i32)))
    (type $g (func (param i64)))
    (func $empty (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func $other (type $f) (call_indirect (type $f) (local.get 0) (i32.const 1)))
    (func $beyond (type $f) (call_indirect (type $f) (local.get 0) (i32.const -1)))
    (func $g (type $g))
    (elem (i32.const 1) func $g)
    (func (export "empty") (call $empty (i32.const 0)))
    (func (export "other") (call $other (i32.const 0)))
    (func (export "beyond") (call $beyond (i32.const 0))))
  (core instance (instantiate $main)))
