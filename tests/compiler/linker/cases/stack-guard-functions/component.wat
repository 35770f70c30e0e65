;; A named function is wrapped: each level of its recursion takes 16 bytes, which it gives back.
(component

  (core module $main
    (global $sp (export "__stack_pointer") (mut i32) (i32.const 1000))
    (global $lowest (mut i32) (i32.const 1000))
    (func $note
      (if (i32.lt_u (global.get $sp) (global.get $lowest)) (then (global.set $lowest (global.get $sp)))))
    (func $recurse (param i32) (result i32)
      (call $note)
      (if (result i32) (local.get 0)
        (then (i32.add (i32.const 1) (call $recurse (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0))))
    (func (export "main") (param i32) (result i32) (call $recurse (local.get 0)))
    (func (export "sp") (result i32) (global.get $sp))
    (func (export "lowest") (result i32) (global.get $lowest)))
  (core instance (instantiate $main)))
