;; Every use of a stub's export, by a call, a table, a reference or an export, becomes the import of the plan.
(component
  (core module $stubs
    (func (export "log") (param i32) (result i32) (i32.add (local.get 0) (i32.const 100)))
    (func (export "unused") (param i64)))
  (core module $main
    (import "env" "log" (func $log (param i32) (result i32)))
    (import "env" "unused" (func (param i64)))
    (table 1 funcref)
    (elem (i32.const 0) func $log)
    (func (export "direct") (result i32) (call $log (i32.const 1)))
    (func (export "through_table") (result i32) (call_indirect (param i32) (result i32) (i32.const 2) (i32.const 0)))
    (func (export "reference") (result i32) (ref.is_null (ref.func $log))))
  (core instance $stubs (instantiate $stubs))
  (core instance (instantiate $main (with "env" (instance $stubs)))))
