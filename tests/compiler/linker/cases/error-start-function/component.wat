(component
  (core module $a (func $f (export "main")) (start $f))
  (core instance (instantiate $a)))
