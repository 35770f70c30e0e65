;; Two forwarders that forward to each other end in a stack overflow, as they did; linking ends.
(component
  (core module $main
    (table 2 funcref)
    (type $f (func (param i32)))
    (func $a (type $f) (call_indirect (type $f) (local.get 0) (i32.const 1)))
    (func $b (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func $c (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (elem (i32.const 0) func $a $b)
    (func (export "main") (param i32) (call $c (local.get 0))))
  (core instance (instantiate $main)))
