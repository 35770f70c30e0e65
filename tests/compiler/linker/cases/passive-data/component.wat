;; Passive data is kept when an instruction uses it, and found under its new number.
(component
  (core module $a
    (memory (export "memory") 1)
    (data "unused")
    (data (i32.const 16) "abc"))
  (core module $b
    (import "a" "memory" (memory 1))
    (data $unused "unused")
    (data $used "\2a\00\00\00")
    (data $dropped "xyz")
    (func (export "main") (result i32)
      (memory.init $used (i32.const 0) (i32.const 0) (i32.const 4))
      (data.drop $used)
      (data.drop $dropped)
      (memory.copy (i32.const 4) (i32.const 16) (i32.const 3))
      (memory.fill (i32.const 8) (i32.const 1) (i32.const 4))
      (drop (memory.grow (i32.const 1)))
      (i32.add (i32.load (i32.const 0)) (i32.load8_u (i32.const 4)))))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))
