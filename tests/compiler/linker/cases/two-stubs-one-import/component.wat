;; Two stubs may stand for one import; it is imported once.
(component
  (core module $stubs
    (func (export "a") (result i32) (i32.const 100))
    (func (export "b") (result i32) (i32.const 100)))
  (core module $main
    (import "env" "a" (func $a (result i32)))
    (import "env" "b" (func $b (result i32)))
    (func (export "main") (result i32) (i32.sub (call $a) (call $b))))
  (core instance $stubs (instantiate $stubs))
  (core instance (instantiate $main (with "env" (instance $stubs)))))
