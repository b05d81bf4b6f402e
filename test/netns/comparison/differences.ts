/**
 * Where our TCP does not answer as Linux's does, and why. A difference that is not here fails the test, and so does one that is here and is none.
 * Names are those of the scenarios; with `IPv4` or `IPv6` in front where only one family differs.
 */
export const DIFFERENCES: Readonly<Record<string, string>> = {
  // Opening.
  'LISTEN: SYN, ECE, CWR': 'RFC 3168 is optional: ECN is not agreed to, for what marks packets lies behind us, not between us and the client',
  'IPv4 CLOSED: SYN, FIN':
    'every port listens until its target was dialled, and LISTEN drops it (RFC 9293 section 3.10.7.2; RFC 9293 leaves SYN with FIN to the implementation)',
  'IPv6 CLOSED: SYN, FIN': 'as with IPv4',
  'CLOSED: FIN': 'every port listens until its target was dialled, and LISTEN drops what has neither SYN, ACK nor RST (RFC 9293 section 3.10.7.2, fourth)',
  'CLOSED: no flag, text': 'the same (RFC 9293 section 3.10.7.2, fourth)',
  'SYN options: an MD5 signature': 'an option that is not known is ignored (RFC 9293, MUST-6); Linux knows RFC 2385, and drops what it has no key for',
  'SYN-RECEIVED: another SYN in the window':
    'RFC 5961 section 4.2: a challenge ACK, whatever its number; Linux goes back to LISTEN, so who guesses 16 bits of a port ends the handshake',
  'IPv4 ICMP in SYN-RECEIVED: host unreachable': 'RFC 5927 section 4.1: no ICMP error ends anything',
  'IPv6 ICMP in SYN-RECEIVED: port unreachable': 'RFC 5927 section 4.1: no ICMP error ends anything',
  // Text.
  'timestamps: text without': 'RFC 7323 section 3.2: SHOULD be dropped once timestamps were agreed on; Linux takes it',
  'text: two segments at once': 'one ACK for all that came in one batch: RFC 5681 section 4.2 asks for one for every second full segment',
  'text: five holes, with SACK': 'the last answer: our islands that touch are one block (RFC 2018 section 3), Linux joins them later',
  'FIN behind a hole': 'a SACK block tells of octets (RFC 2018 section 3); the FIN is kept, but not told',
  'text with FIN behind a hole': 'the same (RFC 2018 section 3)',
  'throttle: text beyond the window': 'one ACK for all that came in one batch; RFC 5961 section 7 asks for fewer, not for more',
  'a closed window: FIN': 'a FIN takes no buffer; Linux took it too until 6.17, and has become as strict as table 6 of RFC 9293',
  // Sending.
  'sending: no more than the window': 'Linux never sends more than half of the largest window at once; RFC 9293 section 3.8.6.2.1 does not ask for it',
  'sending: a window that shrinks': 'PSH: Linux sets it, too, after half of the largest window (RFC 9293 section 3.8.6.2.1 leaves it open where it stands)',
  'sending: FIN with the last text': 'what is written and ended in one turn is one segment; Linux has sent the text when it hears of the end',
  'sending: a probe of a closed window': 'RFC 9293 section 3.8.6.1: at least one octet of new data; Linux sends none, one number too early',
  'IPv4 ICMP: too big, of an MTU of 68': 'PSH stands in the last segment only; Linux sets it in each piece that it cuts',
  // Ends.
  'CLOSE-WAIT: an old ACK': 'RFC 9293 section 3.10.7.4, fifth: a duplicate can be ignored; Linux answers in all states behind ESTABLISHED',
  'CLOSING: old text': 'RFC 9293 section 3.10.7.4, first: what comes again is answered; both take its ACK, but Linux is in TIME-WAIT then, and says nothing',
  'CLOSING: the last number as FIN': 'the same',
  'close, and text comes after it': 'there is no close(2) in a relay: either a direction ends (FIN), or the other side is gone, which is RST at once',
};
