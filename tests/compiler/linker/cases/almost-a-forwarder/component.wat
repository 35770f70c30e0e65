;; Whatever differs from passing all arguments on in order stays as it is.
(component
  (core module $main
    (table 1 funcref)
    (type $f (func (param i32 i32) (result i32)))
    (func $sub (type $f) (i32.sub (local.get 0) (local.get 1)))
    (func (export "swapped") (type $f) (call_indirect (type $f) (local.get 1) (local.get 0) (i32.const 0)))
    (func (export "local") (type $f) (local i32) (call_indirect (type $f) (local.get 0) (local.get 1) (i32.const 0)))
    (func (export "computed") (type $f) (call_indirect (type $f) (local.get 0) (local.get 1) (i32.sub (i32.const 1) (i32.const 1))))
    (func (export "more") (type $f) (i32.add (call_indirect (type $f) (local.get 0) (local.get 1) (i32.const 0)) (i32.const 1)))
    (func (export "constant") (param i32 i32) (result i32) (local.get 0) (local.get 1) (drop) (drop) (i32.const 5))
    (elem (i32.const 0) func $sub))
  (core instance (instantiate $main)))
