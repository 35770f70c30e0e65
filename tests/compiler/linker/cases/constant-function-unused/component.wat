;; A global that starts as a function reference is no fault where nothing reads it.
(component
  (core module $a
    (global $a funcref (ref.func $main))
    (func $main (export "main")))
  (core instance (instantiate $a)))
