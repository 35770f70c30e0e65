;; The wrapper of a function that recurses without asking asks in its place, and returns its error when told to.
(component
  (core module $main
    (global $sp (export "__stack_pointer") (mut i32) (i32.const 1000))
    (func (export "too_deep") (result i32) (i32.lt_u (global.get $sp) (i32.const 900)))
    (func $hash (param i32) (result i32)
      (local $rest i32)
      (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))
      (local.set $rest (call $hash (i32.sub (local.get 0) (i32.const 1))))
      (if (i32.eq (local.get $rest) (i32.const -1)) (then (return (i32.const -1))))
      (i32.add (local.get $rest) (i32.const 1)))
    (func (export "main") (param i32) (result i32) (call $hash (local.get 0)))
    (func (export "sp") (result i32) (global.get $sp)))
  (core instance (instantiate $main)))
