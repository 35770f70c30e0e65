;; The shim's slots may hold functions of the host: they are replaced like any other use.
(component
  (import "test:host/clock@0.2.0" (instance $clock
    (export "now" (func (result u32)))
    (export "later" (func (param "by" u32) (result u32)))))
  (core module $shim
    (table (export "$imports") 2 funcref)
    (type $now (func (result i32)))
    (type $later (func (param i32) (result i32)))
    (func (export "0") (type $now) (call_indirect (type $now) (i32.const 0)))
    (func (export "1") (type $later) (call_indirect (type $later) (local.get 0) (i32.const 1))))
  (core module $main
    (import "clock" "now" (func $now (result i32)))
    (import "clock" "later" (func $later (param i32) (result i32)))
    (func (export "test:host/clock#now") (result i32) (i32.const 1000))
    (func (export "main") (result i32) (i32.add (call $now) (i32.const 1)))
    (func (export "wait") (result i32) (call $later (i32.const 1))))
  (core module $fixup
    (import "" "0" (func (result i32)))
    (import "" "1" (func (param i32) (result i32)))
    (import "" "$imports" (table 2 funcref))
    (elem (i32.const 0) func 0 1))
  (core instance $shim (instantiate $shim))
  (core instance $given (export "now" (func $shim "0")) (export "later" (func $shim "1")))
  (core instance $main (instantiate $main (with "clock" (instance $given))))
  (core func $now (canon lower (func $clock "now")))
  (core func $later (canon lower (func $clock "later")))
  (core instance $filling
    (export "$imports" (table $shim "$imports"))
    (export "0" (func $now))
    (export "1" (func $later)))
  (core instance (instantiate $fixup (with "" (instance $filling)))))
