;; Each module calls the one before; its imports disappear.
(component
  (core module $add
    (func (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1))))
  (core module $twice
    (import "math" "add" (func $add (param i32 i32) (result i32)))
    (func (export "twice") (param i32) (result i32)
      (call $add (local.get 0) (local.get 0))))
  (core module $main
    (import "a" "add" (func $add (param i32 i32) (result i32)))
    (import "b" "twice" (func $twice (param i32) (result i32)))
    (func (export "main") (param i32) (result i32)
      (call $add (call $twice (local.get 0)) (i32.const 1))))
  (core instance $add (instantiate $add))
  (core instance $twice (instantiate $twice (with "math" (instance $add))))
  (core instance $main (instantiate $main (with "a" (instance $add)) (with "b" (instance $twice)))))
