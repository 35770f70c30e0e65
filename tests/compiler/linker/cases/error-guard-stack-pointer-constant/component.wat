(component
  (core module $main (global (export "__stack_pointer") i32 (i32.const 0)) (func $f) (func (export "main") (call $f)))
  (core instance (instantiate $main)))
