;; A forwarder to a forwarder to a function: the call goes to the function.
(component
  (core module $main
    (table (export "t") 3 funcref)
    (type $f (func (param i32) (result i32)))
    (func $first (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func $second (type $f) (call_indirect (type $f) (local.get 0) (i32.const 1)))
    (func $real (type $f) (i32.add (local.get 0) (i32.const 1)))
    (elem (i32.const 0) func $second $real)
    (func (export "main") (type $f) (call $first (local.get 0))))
  (core instance (instantiate $main)))
