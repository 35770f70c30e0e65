(component
  (core module $a
    (global $a i32 (i32.add))
    (global $b i32 (i32.const 1))
    (func (export "main") (drop (global.get $a))))
  (core instance (instantiate $a)))
