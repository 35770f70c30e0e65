(component
  (core module $a (func $f (drop (v128.const i32x4 0 0 0 0))) (func (export "main") (call $f)))
  (core instance (instantiate $a)))
