;; How wit-component breaks a cycle between modules: a first instance jumps through a table, a last one fills it.
(component

  (core module $shim
    (table (export "$imports") 3 funcref)
    (type $f (func (param i32) (result i32)))
    (type $g (func (param i32 i64)))
    (func (export "0") (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func (export "1") (type $g) (call_indirect (type $g) (local.get 0) (local.get 1) (i32.const 1))))

  (core module $main
    (import "late" "double" (func $double (param i32) (result i32)))
    (import "late" "store" (func $store (param i32 i64)))
    (memory (export "memory") 1)
    (func (export "main") (param i32) (result i64)
      (call $store (i32.const 8) (i64.extend_i32_s (call $double (local.get 0))))
      (i64.load (i32.const 8))))
  (core module $late
    (import "main" "memory" (memory 1))
    (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1))))
  (core module $fixup
    (import "" "0" (func (param i32) (result i32)))
    (import "" "1" (func (param i32 i64)))
    (import "" "$imports" (table 3 funcref))
    (elem (i32.const 0) func 0 1))
  (core instance $shim (instantiate $shim))
  (core instance $given (export "double" (func $shim "0")) (export "store" (func $shim "1")))
  (core instance $main (instantiate $main (with "late" (instance $given))))
  (core instance $late (instantiate $late (with "main" (instance $main))))
  (core instance $filling
    (export "$imports" (table $shim "$imports"))
    (export "0" (func $late "double"))
    (export "1" (func $late "store")))
  (core instance (instantiate $fixup (with "" (instance $filling)))))
