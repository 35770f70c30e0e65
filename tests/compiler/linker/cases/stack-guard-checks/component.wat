;; Callers of a check are wrapped, wherever the check is defined; those that only refer to it are not. A wrapped
;; function is wrapped for all: direct calls, the table, references and exports.
(component
  (core module $checks (func $check (export "check") (param i64)))
  (core module $main
    (import "env" "check" (func $check (param i64)))
    (global $sp (export "sp") (mut i32) (i32.const 512))
    (table 2 funcref)
    (elem (i32.const 0) func $deep $refers)
    (elem declare func $check)
    (func $deep (export "deep") (param i32 f64 i64) (result i64 i32)
      (call $check (local.get 2))
      (local.get 2) (global.get $sp))
    (func $refers (result i32) (drop (ref.func $check)) (global.get $sp))
    (func $unused (call $check (i64.const 0)))
    (func (export "direct") (result i32)
      (call $deep (i32.const 1) (f64.const 2) (i64.const 3)) (return))
    (func (export "table") (result i32)
      (call_indirect (param i32 f64 i64) (result i64 i32) (i32.const 1) (f64.const 2) (i64.const 3) (i32.const 0)) (return))
    (func (export "refers") (result i32) (call_indirect (result i32) (i32.const 1))))
  (core instance $checks (instantiate $checks))
  (core instance (instantiate $main (with "env" (instance $checks)))))
