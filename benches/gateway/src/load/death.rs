//! A child that dies in a call: when its caller is told, and when the next call of the same session is answered.

use std::time::{Duration, Instant};

use crate::Failed;
use crate::histogram::Histogram;
use crate::http::{Client, Place};
use crate::options::Options;
use crate::target::{self, Template};

/// How long the next good answer is awaited.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn measure(options: &Options) -> Result<String, Failed> {
    let place = Place::of(&options.url)?;
    let echo = target::found(&place, options)?.remove(0);
    let deadly = Options {
        tool: "die".to_owned(),
        ..options.clone()
    };
    let die = target::found(&place, &deadly)?.remove(0);
    let mut client = Client::new(&place)?;
    let said = client.open()?;
    let (mut told, mut again) = (Histogram::new(), Histogram::new());
    for n_th in 0..options.n_rounds {
        // A process that has just started is no sample of one that serves: it may be in a loop of crashes.
        std::thread::sleep(options.rest);
        let body = Template::new(&target::body(options, &die), n_th).text;
        let began = Instant::now();
        let (_status, _head, answer) = client.ask(&said, &body)?;
        told.add(began.elapsed());
        if memchr::memmem::find(&answer, b"rror").is_none() {
            return Err(format!(
                "the child did not die: {}",
                String::from_utf8_lossy(&answer)
            ));
        }
        let began = Instant::now();
        loop {
            let call = Template::new(&target::body(options, &echo), 1000 + n_th);
            let (_status, _head, answer) = client.ask(&said, &call.text)?;
            if call.check(&answer, 0).is_ok() {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!(
                    "no good answer within {PATIENCE:?}: {}",
                    String::from_utf8_lossy(&answer)
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        again.add(began.elapsed());
    }
    Ok(format!(
        "{{\"rounds\":{},\"told_ms\":{:.3},\"told_max_ms\":{:.3},\"again_ms\":{:.3},\"again_max_ms\":{:.3}}}",
        told.n,
        told.at(0.5) / 1000.0,
        told.at(1.0) / 1000.0,
        again.at(0.5) / 1000.0,
        again.at(1.0) / 1000.0
    ))
}
