(component
  (core module $a
    (global $a funcref (ref.func $main))
    (func $main (export "main") (drop (global.get $a))))
  (core instance (instantiate $a)))
