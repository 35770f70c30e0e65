;; A stub that the plan does not name stays the function it is, whoever uses it; an export may get another's name.
(component
  (core module $stubs
    (func (export "old") (param i32) (result i32) (i32.const 12))
    (func (export "log") (param i32) (result i32) (i32.add (local.get 0) (i32.const 100))))
  (core module $main
    (import "env" "old" (func $old (param i32) (result i32)))
    (import "env" "log" (func $log (param i32) (result i32)))
    (table 1 funcref)
    (elem (i32.const 0) func $old)
    (func (export "logged") (result i32) (call $log (i32.const 1)))
    (func (export "old_form") (result i32) (call $old (i32.const 1)))
    (func (export "through_table") (result i32) (call_indirect (param i32) (result i32) (i32.const 2) (i32.const 0))))
  (core instance $stubs (instantiate $stubs))
  (core instance (instantiate $main (with "env" (instance $stubs)))))
