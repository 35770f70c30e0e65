(component
  (core module $main
    (global (export "__stack_pointer") (mut i32) (i32.const 0))
    (func (export "too_deep") (param i32) (result i32) (i32.const 0))
    (func (export "deep") (result i32) (i32.const 0))
    (func $f (result i64) (i64.const 0))
    (func $g (result i32) (i32.const 0))
    (func (export "main") (drop (call $f)) (drop (call $g))))
  (core instance (instantiate $main)))
